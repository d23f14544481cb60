"""Running methods on data sets: jobs, worker processes, what is stored of each image, and the results as plain data."""
