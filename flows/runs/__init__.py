"""A run: its folder, its events, its warnings, and the cells that a sweep file asks for."""
