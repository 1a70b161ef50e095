"""Personas in a pytest suite: the fixture `holdfast_persona` and what its assertion says.

Every pytest of an environment with Holdfast in it imports `plugin`, which imports nothing but
pytest before a test asks for the fixture.
"""
