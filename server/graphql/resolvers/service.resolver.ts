import { Arg, Ctx, ID, Query, Resolver } from 'type-graphql';
import { idKind } from '../../domain/ids.js';
import { type ServiceRecord, type ViewerRecord } from '../../services/records.js';
import { type GraphContext } from '../context.js';
import { Node } from '../types/node.type.js';
import { Service, Viewer } from '../types/service.type.js';

@Resolver()
export class ServiceResolver {
  @Query(() => Viewer)
  viewer(@Ctx() { services, caller }: GraphContext): Promise<ViewerRecord> {
    return services.service.viewer(caller);
  }

  @Query(() => Service)
  service(@Ctx() { services, caller }: GraphContext): Promise<ServiceRecord> {
    return services.service.service(caller);
  }

  @Query(() => Node, { nullable: true })
  async node(@Arg('id', () => ID) id: string, @Ctx() { services, caller }: GraphContext): Promise<{ id: string } | null> {
    switch (idKind(id)) {
      case 'project': return services.projects.get(caller, id);
      case 'instance': return services.instances.get(caller, id);
      case 'policy': return services.policies.get(caller, id);
      case 'slot': return services.slots.get(caller, id);
      case 'backup': return services.backups.get(caller, id);
      case 'restorePlan': return services.restores.getPlan(caller, id);
      case 'restore': return services.restores.get(caller, id);
      case 'job': return services.jobs.get(caller, id);
      case 'auditEvent': return services.audit.get(caller, id);
      case 'apiKey': return services.apiKeys.get(caller, id);
      case 'notice':
      case 'downloadLink':
      case undefined: return null;
    }
  }
}
