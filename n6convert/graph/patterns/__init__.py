"""Recognizing what several nodes spell together: norms, piecewise functions, recurrent cells."""
