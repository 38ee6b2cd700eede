"""The intermediate representation: expressions, statements, cascades. Imports nothing of the rest."""
