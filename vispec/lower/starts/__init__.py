"""Starts from the data: parameters begin at what a batch shows of the laws that read them."""
