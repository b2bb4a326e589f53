"""The routes under `/v1/` of the admin port, one file a noun. A handler gives JSON, or raises an error of
`rangecache.errors`, which `answers.explaining` turns into a problem document."""
