// Judges histories of requests on one record, for the tests of the drill's own checker. It reads a list of histories as JSON, each
// a list of operations, and prints for each whether it is linearizable.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"

	"github.com/anishathalye/porcupine"
)

type operation struct {
	Kind     string
	Began    int64
	Ended    *int64
	Value    string
	Expected string
}

var record = porcupine.Model{
	Init: func() interface{} { return "a" },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		value, asked := state.(string), input.(operation)
		unknown := asked.Ended == nil
		switch asked.Kind {
		case "read":
			return unknown || asked.Value == value, value
		case "write":
			return true, asked.Value
		case "conditional write":
			if asked.Expected == value {
				return true, asked.Value
			}
			// Nobody knows that it was not refused.
			return unknown, value
		default:
			return unknown || asked.Expected != value, value
		}
	},
}

func main() {
	var histories [][]operation
	if err := json.NewDecoder(os.Stdin).Decode(&histories); err != nil {
		log.Fatal(err)
	}
	for _, history := range histories {
		var operations []porcupine.Operation
		for client, asked := range history {
			ended := int64(math.MaxInt64)
			if asked.Ended != nil {
				ended = *asked.Ended
			}
			operations = append(operations, porcupine.Operation{ClientId: client, Input: asked, Call: asked.Began, Return: ended})
		}
		fmt.Println(porcupine.CheckOperations(record, operations))
	}
}
