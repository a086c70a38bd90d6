"""The verbs, by what they work on."""
