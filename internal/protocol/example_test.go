package protocol_test

import (
	"fmt"
	"strings"

	"balancelab/internal/protocol"
)

func ExampleReadRequest() {
	request, err := protocol.ReadRequest(strings.NewReader("AppID:Long:least_connections"))
	fmt.Println(request.Type, request.Approach, err)
	fmt.Println(request.Job())

	_, err = protocol.ReadRequest(strings.NewReader("AppID:Medium:round_robin"))
	fmt.Println(protocol.Refusal(err.Error()))
	// Output:
	// Long least_connections <nil>
	// AppID:Long
	// Error: unknown type "Medium": want Long or Short
}
