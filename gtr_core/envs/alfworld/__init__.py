"""ALFWorld: household tasks played by text commands, with a picture of what was seen."""
