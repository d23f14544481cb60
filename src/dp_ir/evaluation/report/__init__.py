"""What a reader sees of the results: statistics, tables, plots, files and the page. Nothing here runs a method."""
