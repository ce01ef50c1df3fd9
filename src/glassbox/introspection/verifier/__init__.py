"""Is this response right? One call to a verdict; the fusion behind it, and its folder.

Knows what evidence is worth; knows neither how that was learned nor HTTP.
"""
