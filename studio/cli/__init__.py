"""The command line: one module a verb, imported when the verb is used; each parses, makes one call and prints."""
