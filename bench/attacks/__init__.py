"""The attacks of `attack.py`: a module for each kind of fault, a function for each attack."""
