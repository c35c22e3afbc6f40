import { DefaultNamingStrategy } from 'typeorm';

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** camelCase in the code, snake_case in the database; index and key names say what they are on. */
export class SnakeNaming extends DefaultNamingStrategy {
  override columnName(propertyName: string, customName: string | undefined): string {
    return customName ?? snake(propertyName);
  }

  override indexName(table: { name: string } | string, columns: string[], where?: string): string {
    return `ix_${this.tableOf(table)}_${columns.map(snake).join('_')}${where === undefined ? '' : '_part'}`.slice(0, 63);
  }

  override uniqueConstraintName(table: { name: string } | string, columns: string[]): string {
    return `uq_${this.tableOf(table)}_${columns.map(snake).join('_')}`;
  }

  override primaryKeyName(table: { name: string } | string): string {
    return `pk_${this.tableOf(table)}`;
  }

  private tableOf(table: { name: string } | string): string {
    const name = typeof table === 'string' ? table : table.name;
    return name.split('.').pop() ?? name;
  }
}
