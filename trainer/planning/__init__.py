"""`trainer plan`: what a training will need, and which settings fit."""
