"""Servings: what to serve, from where, as which run."""
