"""The pictures of the card games: bundled glyphs, two layouts, one file a game."""
