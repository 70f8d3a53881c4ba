"""From any float graph to the operator forms that the quantizer works on."""
