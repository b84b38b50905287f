"""Services: the best fleet of workers for requests within limits, proved, judged, explained and replayed."""
