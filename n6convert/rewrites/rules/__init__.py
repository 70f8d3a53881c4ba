"""The rewrite rules, one file per rule, in rooms by what they change."""
