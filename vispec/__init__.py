"""vispec: plate notation to standalone PyTorch modules."""

__version__ = "0.1.0"
