package probe

import (
	"encoding/json"
	"net/http"
	"time"
)

// detail is what /detailz shows of one service.
type detail struct {
	Status string `json:"status"`
	Cause  string `json:"cause,omitempty"`
	Since  string `json:"since"` // RFC 3339, UTC
	// Details is the result of the service's DetailsFunc.
	Details json.RawMessage `json:"details,omitempty"`
	// DetailsError is why the result of the DetailsFunc cannot be encoded.
	DetailsError string `json:"details_error,omitempty"`
}

func serveDetails(w http.ResponseWriter, r *http.Request, reg *Registry) {
	current := reg.current.Load()
	page := make(map[string]detail, len(current.Services))
	for _, s := range current.Services {
		d := detail{Status: s.Status.String(), Since: s.Since.UTC().Format(time.RFC3339)}
		if s.Cause != nil {
			d.Cause = s.Cause.Error()
		}
		if details := current.details[s.Name]; details != nil {
			// Each service is encoded separately, so that the page shows the other services
			// if the details of one cannot be encoded.
			if raw, err := json.Marshal(details(r.Context())); err != nil {
				d.DetailsError = err.Error()
			} else {
				d.Details = raw
			}
		}
		page[s.Name] = d
	}
	body, err := json.MarshalIndent(page, "", "  ")
	if err != nil {
		answer(w, http.StatusInternalServerError, "cannot encode the details: "+err.Error()+"\n")
		return
	}
	header(w, "application/json")
	// An error means that the client has disconnected.
	_, _ = w.Write(append(body, '\n'))
}
