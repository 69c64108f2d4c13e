// The role that is tried out. The server declares a role for every operation and does not yet enforce it: the choice
// only shows what each role will have. It is kept in this browser.

export const ROLES = ["all", "channel", "agent", "worker", "operator", "designer", "manager", "dataScientist", "auditor", "admin"];

const read = (name: string, otherwise: string) => localStorage.getItem(`orderplan.${name}`) || otherwise;

export const chosenRole = () => read("role", "all");
export const chosenUser = () => read("user", "operator");
export const keep = (name: string, value: string) => localStorage.setItem(`orderplan.${name}`, value);
export const mayUse = (needed: string) => needed === "anyone" || chosenRole() === "all" || chosenRole() === needed;
