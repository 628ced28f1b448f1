"""The games of points, Points24 and EZPoints: cards, formulas and the solver."""
