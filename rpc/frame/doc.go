// Package frame defines the messages of the RPC protocol and their encoding as bus records.
//
// A program that only makes and answers calls does not need this package; package rpc uses
// it. It is for programs that replace the encoding of the messages (see [Wire] and
// rpc.WithWire), and for tools that read or write RPC messages directly:
//
//	var f frame.Frame
//	if err := (frame.HeaderWire{}).Decode(record, &f); err == nil {
//		fmt.Println(f.Kind, f.Method, f.Caller)
//	}
//
// [HeaderWire] is the default encoding. docs/wire.md in the repository specifies it for
// other languages.
package frame
