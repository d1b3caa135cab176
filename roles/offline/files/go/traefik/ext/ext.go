// Package ext stands in for the extension point that Traefik's own go.mod replaces by a local folder,
// which the module proxy does not serve. Both types are empty upstream too.
package ext

// HTTP extends the HTTP configuration.
type HTTP struct{}

// DeepCopyInto copies an empty struct.
func (in *HTTP) DeepCopyInto(out *HTTP) { *out = *in }

// Router extends the router configuration.
type Router struct{}

// DeepCopyInto copies an empty struct.
func (in *Router) DeepCopyInto(out *Router) { *out = *in }
