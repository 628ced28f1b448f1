"""What pictures are drawn with: bundled glyphs and the card games' layouts."""
