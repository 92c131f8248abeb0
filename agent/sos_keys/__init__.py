"""Who may speak in a site: certificates, pole keys, and the broker's access list. The technician's side only."""
