"""The steps of a study, one after another: resumable, sharded, forecast before they begin."""
