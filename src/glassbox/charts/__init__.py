"""Pictures of values that ``glassbox.stats`` computed, and the shell of the HTML report.

Each drawing function takes finished values and returns a ``Chart``: a figure and the very numbers
it shows. Nothing is computed here beyond layout, no model is needed, and matplotlib is imported
when the first chart is drawn.
"""
