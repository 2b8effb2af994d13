"""One server for one loaded model: the data plane, its fast HTTP lane, its pages and its rules of access."""
