SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayOperationId: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  // The default asks a server elsewhere whether the document is valid.
  validatorUrl: null,
  syntaxHighlight: { activated: true },
});
