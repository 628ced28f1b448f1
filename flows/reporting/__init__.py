"""Finished runs side by side: tables, differences, cost, and one page that shows them.

selection.py    which runs         table.py         mean, deviation and interval a row
finished.py     one run's files    differences.py   arm against arm on the same episodes
arms.py         runs by row        costs.py         hours, tokens and money
"""
