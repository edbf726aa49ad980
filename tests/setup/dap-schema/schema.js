// Makes a JSON schema of the published types of the Debug Adapter Protocol: node schema.js DEBUGPROTOCOL.D.TS
'use strict';
const ts = require('typescript');
const fs = require('fs');

const source = ts.createSourceFile('d.ts', fs.readFileSync(process.argv[2], 'utf8'), ts.ScriptTarget.ES2022, true);
const definitions = {};

function type(node) {
  switch (node.kind) {
    case ts.SyntaxKind.StringKeyword: return { type: 'string' };
    case ts.SyntaxKind.NumberKeyword: return { type: 'number' };
    case ts.SyntaxKind.BooleanKeyword: return { type: 'boolean' };
    case ts.SyntaxKind.ArrayType: return { type: 'array', items: type(node.elementType) };
    case ts.SyntaxKind.ParenthesizedType: return type(node.type);
    case ts.SyntaxKind.TypeLiteral: return members(node.members);
    case ts.SyntaxKind.TypeReference: return { $ref: node.typeName.getText() };
    case ts.SyntaxKind.LiteralType:
      return node.literal.kind === ts.SyntaxKind.NullKeyword ? { type: 'null' } : { enum: [node.literal.text] };
    case ts.SyntaxKind.UnionType: return { anyOf: node.types.map(type) };
    default: return {}; // any
  }
}

function members(list) {
  const schema = { type: 'object', properties: {}, required: [] };
  for (const member of list) {
    if (ts.isIndexSignatureDeclaration(member)) {
      schema.additionalProperties = type(member.type);
    } else if (ts.isPropertySignature(member)) {
      const name = member.name.text ?? member.name.getText();
      schema.properties[name] = type(member.type);
      if (!member.questionToken) { schema.required.push(name); }
    }
  }
  return schema;
}

function visit(node) {
  if (ts.isInterfaceDeclaration(node)) {
    const own = members(node.members);
    const bases = (node.heritageClauses ?? []).flatMap(clause => clause.types).map(base => base.expression.getText());
    definitions[node.name.text] = bases.length ? { allOf: [...bases.map(base => ({ $ref: base })), own] } : own;
  } else if (ts.isTypeAliasDeclaration(node)) {
    definitions[node.name.text] = type(node.type);
  }
  ts.forEachChild(node, visit);
}
visit(source);
process.stdout.write(JSON.stringify(definitions));
