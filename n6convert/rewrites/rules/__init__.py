"""The rewrite rules, one file a rule, in rooms by what they change."""
