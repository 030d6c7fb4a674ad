package scim

import (
	"net/http"
	"strings"
)

// The schemas of the messages (RFC 7643, section 8, and RFC 7644, section 8.2).
const (
	userSchema         = "urn:ietf:params:scim:schemas:core:2.0:User"
	configSchema       = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
	resourceTypeSchema = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
	schemaSchema       = "urn:ietf:params:scim:schemas:core:2.0:Schema"
	listSchema         = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	errorSchema        = "urn:ietf:params:scim:api:messages:2.0:Error"
)

// object is a JSON object.
type object map[string]any

// message returns the error as its body has it; status is a string there.
func (e *scimError) message() any {
	m := object{"schemas": []string{errorSchema}, "status": statusText(e.status), "detail": e.detail}
	if e.kind != "" {
		m["scimType"] = e.kind
	}
	return m
}

func statusText(code int) string {
	return string([]byte{byte('0' + code/100), byte('0' + code/10%10), byte('0' + code%10)})
}

func (s *service) serviceProviderConfig(q *request) (any, error) {
	supported := func(yes bool) object { return object{"supported": yes} }
	return object{
		"schemas": []string{configSchema},
		"patch":   supported(true), "changePassword": supported(true), "sort": supported(false), "etag": supported(false),
		"bulk":   object{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter": object{"supported": true, "maxResults": maxCount},
		"authenticationSchemes": []object{{
			"type": "oauthbearertoken", "name": "Bearer token", "description": "A token of the site's token file with the role account:admin", "primary": true,
		}},
		"meta": object{"resourceType": "ServiceProviderConfig", "location": location(q.Request, "/ServiceProviderConfig")},
	}, nil
}

func userResourceType(q *request) object {
	return object{
		"schemas": []string{resourceTypeSchema}, "id": "User", "name": "User", "endpoint": "/Users", "description": "A user of the site", "schema": userSchema,
		"meta": object{"resourceType": "ResourceType", "location": location(q.Request, "/ResourceTypes/User")},
	}
}

func (s *service) resourceTypes(q *request) (any, error) {
	return newListResponse(1, userResourceType(q)), nil
}

func (s *service) resourceType(q *request) (any, error) {
	if q.PathValue("id") != "User" {
		return nil, &scimError{status: http.StatusNotFound, detail: "the only resource type is User"}
	}
	return userResourceType(q), nil
}

func attribute(name, kind, mutability, returned, uniqueness string, required bool, description string) object {
	return object{
		"name": name, "type": kind, "multiValued": false, "description": description, "required": required, "caseExact": false,
		"mutability": mutability, "returned": returned, "uniqueness": uniqueness,
	}
}

func userSchemaObject(q *request) object {
	return object{
		"schemas": []string{schemaSchema}, "id": userSchema, "name": "User", "description": "A user of the site",
		"attributes": []object{
			attribute("userName", "string", "immutable", "default", "server", true, "The user's address, like alice@example.com"),
			attribute("active", "boolean", "readWrite", "default", "none", false, "Whether the user may log in"),
			attribute("password", "string", "writeOnly", "never", "none", false, "A password; without one, the user logs in by another account source"),
		},
		"meta": object{"resourceType": "Schema", "location": location(q.Request, "/Schemas/"+userSchema)},
	}
}

func (s *service) schemas(q *request) (any, error) {
	return newListResponse(1, userSchemaObject(q)), nil
}

func (s *service) schema(q *request) (any, error) {
	if !strings.EqualFold(q.PathValue("id"), userSchema) {
		return nil, &scimError{status: http.StatusNotFound, detail: "the only schema is " + userSchema}
	}
	return userSchemaObject(q), nil
}
