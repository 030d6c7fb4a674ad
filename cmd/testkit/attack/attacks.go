package main

// attacks are all ways to harm the site that are tried.
func attacks() []attack {
	return []attack{
		// Every resource has an owner, a share and a bound.
		churn(), contactChurn(), slowReaders(), floodedSessions(), pipelines(), pings(), params(), endlessAnswers(),
		callBodies(), healthWatches(), refusedCalls(), gossip(), clusterSilence(), slowPosts(), slowGets(), ids(), keyUpdates(), silence(), slowConsumers(),
		// Nothing that costs much runs where others wait.
		acl(), products(), idn(), junk(), badCommands(), presenceFlood(),
		// Who it is, and whether they may.
		guessesSix(), guessesWide(), dialbacks(), remoteDomains(), removed(),
	}
}
