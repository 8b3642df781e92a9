"""The methods of the class, by what they tell."""
