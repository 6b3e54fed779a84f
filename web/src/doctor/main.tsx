import '../frame/theme.css'
import { Live } from '../frame/live.ts'
import { StaleBanner } from '../frame/notice.tsx'
import { Shell, startPortal } from '../frame/shell.tsx'
import { t } from '../frame/texts.ts'

const live = new Live('/v1/events', [])

void startPortal({
  title: () => t('title.doctor'),
  nameLabel: () => t('login.name'),
  body: (session) => (
    <Shell session={session} navigation={[]} banner={<StaleBanner live={live} />}>
      <p>{session.role}</p>
    </Shell>
  ),
})
