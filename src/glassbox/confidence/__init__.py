"""Room 1: labelled texts to label probabilities, calibrated, with a threshold that holds."""
