export function officialClients() { return []; }
