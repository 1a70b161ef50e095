"""Inspect (inspect-ai) and Holdfast: our models under its evaluations, our records in its logs.

Nothing here is imported by the rest of the package. Inside it `import inspect` is the standard
library's module, as everywhere.
"""
