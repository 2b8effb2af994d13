"""Contract suites that every implementation of a seam must pass; public, for third parties' too. Needs pytest."""
