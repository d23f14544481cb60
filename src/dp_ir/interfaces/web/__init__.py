"""The page in the browser, and the server below it: `dp-ir serve`."""
