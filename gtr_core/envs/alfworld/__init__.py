"""ALFWorld: household tasks in text and picture, played from game.tw-pddl files."""
