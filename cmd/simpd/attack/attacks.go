package main

// attacks are all ways to harm the site that are tried.
func attacks() []attack {
	return []attack{
		churn(),
		contactChurn(),
		pings(),
		pipelines(),
		params(),
		slowReaders(),
	}
}
