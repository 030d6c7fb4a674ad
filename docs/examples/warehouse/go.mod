module example.com/warehouse

go 1.26.0

require (
	google.golang.org/grpc v1.85.0
	simpd v0.0.0
)

require (
	github.com/tidwall/btree v1.8.2 // indirect
	github.com/xdg-go/stringprep v1.0.4 // indirect
	go.mau.fi/util v0.11.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260928230214-8a89bd6388cc // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace simpd => ../../..
