"""What the example files compute, written by hand in dense torch from the papers' formulas.

``dense/masks.py`` holds a function for every file of ``examples/masks``, under the file's name; it takes the
file's inputs and params by name and returns its outputs. Nothing here knows the compiler.
"""
