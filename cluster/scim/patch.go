package scim

import (
	"encoding/json"
	"fmt"
	"strings"
)

// patchRequest is a PATCH (RFC 7644, section 3.5.2).
type patchRequest struct {
	Operations []operation `json:"Operations"`
}

type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

const maxOperations = 100

func (s *service) patch(q *request) (any, error) {
	var p patchRequest
	if err := decode(q.body, &p); err != nil {
		return nil, err
	}
	if len(p.Operations) == 0 || len(p.Operations) > maxOperations {
		return nil, badRequest("invalidSyntax", fmt.Sprintf("Operations must have 1 to %d elements", maxOperations))
	}
	var c change
	for _, o := range p.Operations {
		if err := c.add(o); err != nil {
			return nil, err
		}
	}
	return s.apply(q, &c)
}

// add adds an operation to a change. Entra ID writes operations with a capital letter
// and booleans as strings, and Okta sends values without a path.
func (c *change) add(o operation) error {
	op := strings.ToLower(o.Op)
	if op != "add" && op != "replace" && op != "remove" {
		return badRequest("invalidSyntax", fmt.Sprintf("op %.40q must be add, replace or remove", o.Op))
	}
	if o.Path != "" {
		return c.setAttribute(op, o.Path, o.Value)
	}
	if op == "remove" {
		return badRequest("noTarget", "remove needs a path")
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(o.Value, &values); err != nil {
		return badRequest("invalidValue", "without a path, value must be an object with attributes")
	}
	for name, value := range values {
		if err := c.setAttribute(op, name, value); err != nil {
			return err
		}
	}
	return nil
}

// setAttribute changes an attribute. Those that are not stored, such as names, are
// ignored.
func (c *change) setAttribute(op, path string, value json.RawMessage) error {
	name := strings.TrimPrefix(strings.ToLower(path), strings.ToLower(userSchema)+":")
	switch name {
	case "active", "username", "password":
	default:
		return nil
	}
	if op == "remove" {
		return badRequest("mutability", name+" can't be removed")
	}
	switch name {
	case "active":
		var active flag
		if err := decodeValue(value, &active, name); err != nil {
			return err
		}
		c.active = (*bool)(&active)
	case "username":
		return decodeValue(value, &c.userName, name)
	case "password":
		return decodeValue(value, &c.password, name)
	}
	return nil
}

// decodeValue reads the value of an attribute: by itself, or as the only element of
// an array, {"value": …}, as some versions of Entra ID send it.
func decodeValue(value json.RawMessage, to any, name string) error {
	var list []struct {
		Value json.RawMessage `json:"value"`
	}
	if json.Unmarshal(value, &list) == nil && len(list) == 1 {
		value = list[0].Value
	}
	if len(value) == 0 || string(value) == "null" || json.Unmarshal(value, to) != nil {
		return badRequest("invalidValue", fmt.Sprintf("the value of %s is not valid", name))
	}
	return nil
}
