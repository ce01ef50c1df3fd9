"""What a study found, put together: tables, graph, sub-graph tests, report, exports, reader."""
