"""What modules answer: posterior queries, predictions and decisions."""
